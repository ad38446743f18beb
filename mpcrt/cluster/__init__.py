"""Cluster files, certificates and the processes of a local run."""
