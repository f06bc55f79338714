// Starts the application.

import { render } from "preact";
import { startRequestLog } from "./data/requests";
import { start } from "./start";
import "./styles/index.css";
import { Failed } from "./ui/failed";

const root = document.getElementById("app")!;
// The log also has what was requested before.
start(startRequestLog()).then(
  (application) => render(application, root),
  (error: unknown) => render(<Failed error={error} />, root),
);
