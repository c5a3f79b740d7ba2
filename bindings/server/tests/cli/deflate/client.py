"""The package websockets against a server that compresses: python client.py URL with|without"""

import json
import sys

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

URL, CONTEXTS = sys.argv[1:]
TEXT = "a text in which much comes again, and again: ägäin "
PAYLOADS = ["", "x", TEXT, TEXT * 100, ",".join(str(n * n % 1009) for n in range(3000)), TEXT * 4000]

# What is offered, and whether it is agreed to.
OFFERS = [
    ({"client_max_window_bits": True}, True),
    ({"server_no_context_takeover": True, "client_no_context_takeover": True}, True),
    ({"server_max_window_bits": 9, "client_max_window_bits": 10}, True),
    ({"server_max_window_bits": 15, "client_max_window_bits": 15}, True),
    (None, False),
]


def exchange(offer, is_agreed):
    """Publishes each payload and waits until it came back."""
    extensions = None if offer is None else [ClientPerMessageDeflateFactory(**offer)]
    with connect(
        URL, subprotocols=["forebay.v1"], compression=None, extensions=extensions, max_size=None, open_timeout=60
    ) as socket:
        agreed = [extension.name for extension in socket.protocol.extensions]
        assert agreed == (["permessage-deflate"] if is_agreed else []), agreed
        messages = (message for text in socket for message in flat(json.loads(text)))
        assert next(messages)["op"] == "hello"
        topic = f"python-{id(socket)}"
        socket.send(json.dumps({"op": "subscribe", "topic": topic, "id": "s"}))
        assert next(messages)["op"] == "ok"
        for start in range(0, 300, 100):
            for nth, payload in enumerate(PAYLOADS):
                data = {"nth": start + nth, "payload": payload}
                socket.send(json.dumps({"op": "publish", "topic": topic, "data": data}))
            for nth, payload in enumerate(PAYLOADS):
                assert next(messages)["data"] == {"nth": start + nth, "payload": payload}, nth


def flat(said):
    return said if isinstance(said, list) else [said]


for offer, is_agreed in OFFERS:
    exchange(offer, is_agreed)
print(f"{CONTEXTS}: {len(OFFERS)} offers, all messages came back")
