"""The main path of one batch on a device, and the preparation of pictures for the networks."""
