"""A simulated exchange that other processes can connect to."""
