// node run.mjs PYODIDE PACKAGES REPOSITORY PROGRAM ARGUMENT...: run a Python program in Pyodide.
//
// PACKAGES and REPOSITORY are folders of this machine; the program sees them as /packages and
// /repository, imports from both, and ends with a number: the exit status.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, packages, repository, program, ...rest] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(pyodide, "pyodide.mjs")));
const python = await loadPyodide({
  indexURL: pyodide,
  // Both folders stay as they are; without a home, Matplotlib keeps its list of fonts nowhere.
  env: { PYTHONDONTWRITEBYTECODE: "1", HOME: "/home/pyodide", MPLBACKEND: "agg" },
});
const compiled = ["numpy", "pillow", "matplotlib", "threadpoolctl"];
await python.loadPackage(compiled, { messageCallback: () => {} });
for (const [folder, place] of [[packages, "/packages"], [repository, "/repository"]]) {
  python.FS.mkdirTree(place);
  python.mountNodeFS(place, folder);
}
python.globals.set("arguments", python.toPy(rest));
python.runPython(`
import os, sys
sys.path[:0] = ["/repository", "/packages"]
sys.argv[1:] = arguments
os.chdir("/repository")
`);
try {
  process.exitCode = python.runPython(readFileSync(program, "utf8"), { filename: program });
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
