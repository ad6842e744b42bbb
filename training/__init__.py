"""The room that trains: fine-tuned backbones, text and series models, and their export to one ONNX file.

    __main__ > commands | recipes > reports > pipelines > fit | evaluation | export > data | models > settings

`commands` parse a command line; `recipes` are the runs that made the bundled models, as functions that return settings;
`reports` say how a run went; `pipelines` are the whole way of one task, from data to a published file; the rest are the
steps of that way: `data` are read, `models` built, `fit`ted, judged by `evaluation` and written by `export`. `settings`
are what all of them are told. The only room that knows torch.
"""
