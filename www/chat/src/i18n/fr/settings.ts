import type { Strings } from "../en";

export const settings: Strings["settings"] = {
  title: "Settings",
  keys: {
    newChat: "New chat",
    newGhost: "New ghost chat",
    search: "Search conversations",
    sidebar: "Show or hide the conversations",
    compose: "Go to the message field",
    previous: "Conversation above",
    next: "Conversation below",
    stop: "Stop the answer",
    copyLast: "Copy the last answer",
    regenerate: "Regenerate the last answer",
    editLast: "Edit the last message, from the empty field",
    models: "Models",
    sheet: "This sheet",
  },
};
