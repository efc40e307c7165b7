"""The sandbox as `make run` starts it: its upstream, its people, its pages."""
