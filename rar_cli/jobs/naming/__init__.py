"""What is to be done and what it is called: inputs and OUTPUT -> jobs."""
