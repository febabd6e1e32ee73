"""Records work for a GPU, which then repeats it by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch


class CudaGraphs:
    """Records one function after another as a CUDA graph; all graphs share a stream and their memory.

    Only the latest graph may run. ``torch.cuda.graph`` would return all free memory to the device before each.
    """

    def __init__(self) -> None:
        self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self._graph: torch.cuda.CUDAGraph | None = None  # the memory stays as long as a graph does

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Calls ``work`` once, which makes what CUDA makes at first use, and records a second call.

        Args:
            work: reads and writes tensors that stay, and looks at none on the host.

        Returns:
            What repeats it.
        """
        here, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work()
            # Other threads, as that which pins a data loader's memory, may go on meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()
        here.wait_stream(self._stream)
        self._graph = graph
        return graph.replay
