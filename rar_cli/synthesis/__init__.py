"""Every degradation and stacks of them, seeded: pictures to train and to measure on."""
