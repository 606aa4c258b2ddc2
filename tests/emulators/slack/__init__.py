"""A test server that speaks Slack: Web API, Socket Mode, Events over HTTP, files."""

from tests.emulators.slack.server import SlackEmulator

__all__ = ["SlackEmulator"]
