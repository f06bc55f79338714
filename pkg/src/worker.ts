// The worker's entry point.

import { serve } from "./serve.js";

self.addEventListener("message", serve());
