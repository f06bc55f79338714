import { run } from "./answers.js";

run();
