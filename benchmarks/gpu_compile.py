"""The programs of `gpu_check.py`, compiled by XLA for an NVIDIA device that is not there.

The plugin's compiler takes a description of a device in its place. It refuses operations, dtypes and custom calls that
it does not know, lays out, fuses and assembles; what the code computes is not known until it runs.
"""

import sys
import time

# an H100 (SXM), as NVIDIA describes it: the CUDA programming guide, table of compute capabilities, 9.0; H100 datasheet
DEVICE = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132 fpus_per_core: 128 threads_per_warp: 32 clock_rate_ghz: 1.98
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 85899345920
}
runtime_version { major: 12 minor: 8 }
dnn_version_info { major: 9 minor: 7 }
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
"""


class Compiler:
    """XLA's compiler for the device that `DEVICE` describes, without one."""

    def __init__(self):
        from pullback._xla import engine, plugins

        plugin = plugins.named("cuda")
        if plugin is None:
            raise SystemExit(
                "NVIDIA's plugin is not installed: pip install --no-deps jax-cuda13-plugin jax-cuda13-pjrt"
            )
        self.engine, self.xc = engine, engine.xla_client()
        self.origin = plugin.origin
        _, api = plugins.load(plugin)
        topology = self.xc.make_c_api_device_topology(api, "h100", target_config=DEVICE, topology="1x1x1")
        (self.device,) = topology._make_compile_only_devices()

    def compile(self, text):
        """Compile StableHLO text; RuntimeError for what the compiler refuses."""
        module = self.engine.parsed(text, as_hlo=False)
        return self.device.client.compile(module, self.xc.DeviceList((self.device,)), self.xc.CompileOptions())


def compiled(count):
    """The results as lines of Markdown, and whether all programs were compiled."""
    from types import SimpleNamespace

    from gpu_check import FOLDER, ROOT, decompositions, library_of, programs

    sys.path[:0] = [str(ROOT), str(FOLDER), str(ROOT / "tests")]
    from transformer import data, step

    core, library = library_of("pullback")
    peer = SimpleNamespace(core=core, numpy=library.np, nn=library.nn)
    work = list(programs(core, library, count))
    work += [(f"decomposition: {name}", fun, [x]) for name, fun, x in decompositions(library.lax, library.np)]
    work.append(("transformer", step(peer), data(library.np)))
    compiler, counts, failures, begin = Compiler(), {}, {}, time.perf_counter()
    for name, fun, args in work:
        kind = name.partition(" of ")[0].partition(":")[0]
        try:
            compiler.compile(core.jit(fun).trace(*args).lower(lowering_platforms=("cuda",)).as_text())
            counts[kind] = counts.get(kind, 0) + 1
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    lines = [
        "**No program was ever run on a GPU.** XLA's compiler for NVIDIA's devices, without one, compiled these",
        f"programs for {compiler.device.device_kind} ({compiler.origin}, {time.perf_counter() - begin:.0f} s):",
        "",
        "| programs | compiled |",
        "|---|---:|",
        *[f"| {kind}s | {number} |" for kind, number in counts.items()],
        "",
        "Refused: " + ("none." if not failures else ""),
        *[f"- {name}: {text}" for name, text in failures.items()],
    ]
    return lines, not failures
