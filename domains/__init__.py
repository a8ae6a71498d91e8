"""Protected hostnames and their origins."""
