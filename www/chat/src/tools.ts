// Tools that the page offers to models, if the user wants it. None of them reaches outside of the page.

import type { Tool } from "minke";
import { calculate } from "../../demos/tools/calculate.js";

export const TOOLS: Record<string, Tool> = {
  calculator: {
    description: "Computes an arithmetic expression of numbers, + - * / % ^ and parentheses.",
    inputSchema: {
      type: "object",
      properties: { expression: { type: "string", description: "for example (3 + 4) * 2 ^ 5" } },
      required: ["expression"],
      additionalProperties: false,
    },
    execute: ({ expression }: { expression: string }) => calculate(expression),
  },
  clock: {
    description: "Tells the date, the time and the time zone of the user.",
    inputSchema: { type: "object", properties: {}, additionalProperties: false },
    execute: () => ({
      now: new Date().toString(),
      iso: new Date().toISOString(),
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    }),
  },
};
