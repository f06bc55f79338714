// Tools that the page offers to models, if the user wants it. None of them reaches outside of the page.

import type { Tool } from "minke";

export const TOOLS: Record<string, Tool> = {
  calculator: {
    description: "Computes an arithmetic expression of numbers, + - * / ^ and parentheses.",
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

/** Arithmetic without `eval`, which the page's policy refuses. Throws what is wrong with the expression. */
export function calculate(expression: string): number {
  const tokens = expression.match(/\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|\*\*|[-+*/^()%×÷]|\S/gi) ?? [];
  let at = 0;
  const take = (...wanted: string[]) => (wanted.includes(tokens[at] ?? "") ? tokens[at++] : undefined);
  const atom = (): number => {
    if (take("(")) {
      const value = sum();
      if (!take(")")) throw new Error("a parenthesis is not closed");
      return value;
    }
    const token = tokens[at++];
    if (token === undefined || !/^[\d.]/.test(token)) throw new Error(`expected a number, not ${token ?? "the end"}`);
    return Number(token);
  };
  const power = (): number => {
    const base = atom();
    return take("^", "**") ? base ** signed() : base;
  };
  const signed = (): number => (take("-") ? -signed() : take("+") ? signed() : power());
  const product = (): number => {
    let value = signed();
    for (let sign; (sign = take("*", "×", "/", "÷", "%")) !== undefined;) {
      const next = signed();
      value = sign === "%" ? value % next : sign === "*" || sign === "×" ? value * next : value / next;
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    for (let sign; (sign = take("+", "-")) !== undefined;) value = sign === "+" ? value + product() : value - product();
    return value;
  };
  const value = sum();
  if (at < tokens.length) throw new Error(`unexpected ${tokens[at]}`);
  return value;
}
