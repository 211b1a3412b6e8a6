"""Measures Gossipper beside SIPp on this machine, over loopback. See benches/README.md."""
