"""Language models behind an OpenAI-compatible server (vLLM, llama.cpp, hosted ones): one client for every step that asks.

    server.py    the options: where the server is, how it is asked, what is asked of the model
    client.py    many requests at a time, with retries and limits; counts requests, tokens and cost
    answers.py   the answers on disk, so that no later process asks again
    replies.py   what an HTTP response means
    share.py     whether too many answers are invalid
    asking.py    what the steps have in common: `Asking`, their options, and `AskingStep`

Outside a step, make a `Client` and call `ask`:

    client = Client(config.server, cache=folder)
    answers = client.ask([config.request(prompt, sample) for prompt in prompts for sample in range(config.samples)])
"""
