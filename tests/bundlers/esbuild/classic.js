// A classic worker that loads the package's script, as the workers of some bundlers do.
importScripts("worker.js");
