// In the place of the package's worker: a classic worker that loads it, as those that some bundlers make do.
importScripts("package.js");
