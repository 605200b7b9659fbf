"""The benchmark as a task of Inspect (https://inspect.aisi.org.uk), for people who work with it: extra `inspect`.

    inspect eval personamem_pipeline/personamem --model openai/gpt-5-mini -T protocol=memory

Questions, option orders, prompts, parsers and labels are those of the report, so scores are too. Nothing else of this
project imports from here, and everything in here imports by whole names: the folder is called like a standard module.
"""
