"""A design, a network, an engine and a report format for posestudy."""
