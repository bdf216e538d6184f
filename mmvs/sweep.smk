"""The cells of one `mmvs sweep`, which writes the configuration: each is one call of `mmvs evaluate`.

The working directory is reports/<run>/sweep. A cell that fails leaves `failed` beside its log.
"""

CELLS = {f"{cell['name']}/{cell['seed']}": cell for cell in config["cells"]}


wildcard_constraints:
    cell=r"[^/]+/\d+",


rule sweep:
    input:
        [f"{cell}/done" for cell in CELLS],


rule cell:
    output:
        touch("{cell}/done"),
    params:
        file=lambda wildcards: CELLS[wildcards.cell]["params"],
        folder=lambda wildcards: CELLS[wildcards.cell]["folder"],
        root=config["root"],
        python=config["python"],
    shell:
        """
        cd {params.root:q}
        {params.python:q} -m mmvs evaluate {params.file:q} >> {params.folder:q}/sweep.log 2>&1 \
            || {{ touch {params.folder:q}/failed; exit 1; }}
        """
