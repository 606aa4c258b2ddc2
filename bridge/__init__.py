"""The core of Threadbridge: conversations, delivery, the store and the gateway. It knows no platform."""

__version__ = "0.1.0"
