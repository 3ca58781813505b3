"""The heads of gain: plans carried out on many pictures, and what is learned from them."""
