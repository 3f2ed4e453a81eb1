"""The functions that a model may call, and how they are declared to it. Put your own here; keep the two names.

``FUNCTIONS`` maps a name to the function that runs, ``TOOLS`` is what the model reads.
"""


def get_current_weather(city, unit="celsius"):
    """A stand-in that always answers the same."""
    return {"city": city, "sky": "مشمس", "degrees": 31 if unit == "celsius" else 88}


FUNCTIONS = {"get_current_weather": get_current_weather}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "description": "Get the weather in a city right now.",
            "parameters": {
                "type": "object",
                "required": ["city"],
                "properties": {
                    "city": {"type": "string", "description": "City name in Arabic"},
                    "unit": {
                        "type": "string",
                        "enum": ["celsius", "fahrenheit"],
                        "description": "Temperature unit",
                    },
                },
            },
        },
    }
]
