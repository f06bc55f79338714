// The store: model files that are kept in this origin's private file system. Code outside this folder imports this file only.

export { keepChoices, readChoices } from "./choices.js";
export type { StoredFile } from "./file.js";
export { BLOCK } from "./journal.js";
export { lookUp, models, remove, type Stored } from "./list.js";
export { StoredModel, type Choose } from "./model.js";
