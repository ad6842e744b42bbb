"""The client of a Menagerie server: a small class, and the command `menagerie-predict`."""

from service.client.client import Classification, ClassScore, Client, Forecast, History, Reading
from service.client.connection import Credentials
from service.client.errors import ClientError, PredictionError, UsageError

__all__ = [
    "ClassScore",
    "Classification",
    "Client",
    "ClientError",
    "Credentials",
    "Forecast",
    "History",
    "PredictionError",
    "Reading",
    "UsageError",
]
