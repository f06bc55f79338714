import type { Strings } from "../en";

export const models: Strings["models"] = {
  title: "Models",
};
