"""Measurements that a user can repeat: each function here runs one and gives back its figures."""
