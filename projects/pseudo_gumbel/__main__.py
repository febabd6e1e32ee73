"""``python -m pseudo_gumbel``: the console command."""

from pseudo_gumbel.cli import main

main()
