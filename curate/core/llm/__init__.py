"""Language models behind an OpenAI-compatible server (vLLM, llama.cpp, hosted ones): one client for every step that asks.

    server.py    the options: where the server is, how it is asked, what is asked of the model
    client.py    many requests at a time, with retries and limits; counts requests, tokens and cost
    answers.py   the answers on disk, so that nothing is asked twice
    replies.py   what an HTTP response means

A step has `Sampling` among its options and `server: Server`, makes a `Client` when it is opened, and calls `ask`:

    client = Client(config.server, cache=folder)
    answers = client.ask([config.request(prompt, sample) for prompt in prompts for sample in range(config.samples)])
"""
