"""The paths of the public port that clients of the contract know. Pure."""

WS_PATH = "/v1/ws"
POLL_PATH = "/v1/notifications"
ENDPOINT_PATH = "/v1/endpoint"
