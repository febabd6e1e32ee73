"""Build the indices of large sets before training, or bring them up to date."""

from __future__ import annotations

from collections.abc import Sequence

from pseudo_gumbel.cli.options import add_debug, add_index_dir, make_parser

EXAMPLES = """\
A run also builds the indices that it needs, but all of its GPUs wait meanwhile. A killed build resumes; of a set that
has grown, only the new files are read. All cores are used; to limit them: taskset -c 0-3 pseudo-gumbel index-data ...

examples:
  all sets of a config, with its limits   pseudo-gumbel index-data pseudo_gumbel_4b
  the set in a folder                     pseudo-gumbel index-data /data/sa1b
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel index-data") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("what", metavar="CONFIG|PATH", help="a config, or data as for check-data")
    add_index_dir(parser)
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: build(args.what, args.index_dir), args.debug)


def build(what: str, index_dir: str | None = None) -> None:
    from mmengine.registry import DATASETS

    from sa2va_native.engine.config.sources import sources_of
    from sa2va_native.errors import printable

    for name, config in sources_of(what, index_dir):
        dataset = DATASETS.build(config)
        index = getattr(dataset, "index", None)
        where = index.folder if index is not None else "needs no index"
        print(f"{printable(name)}: {type(dataset).__name__}, {len(dataset):,} records: {where}")
