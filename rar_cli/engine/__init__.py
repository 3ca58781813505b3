"""The main path of one batch on a device, and what of a picture the networks see."""
