"""`ota-service agent --watch`: what a running agent is doing, from its admin port's /sessions."""
