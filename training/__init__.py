"""The room that trains: fine-tuned backbones, text and series models, and their export to one ONNX file.

    __main__ > commands > recipes > pipelines > transfer > fit | evaluate | export > data | models > settings > errors

`commands` parse a command line; `recipes` are the runs that made the bundled models, as functions that return settings;
`pipelines` are the whole way of one task, from data to a published file; the rest are the steps of that way (`transfer`
is how an image network is fitted: its head alone, or all of it). The only room that knows torch.
"""
