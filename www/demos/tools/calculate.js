// Arithmetic without eval, which the page's policy forbids.

/** The value of an expression of numbers, + - * / % ^ and parentheses. The chat has it as a tool, too. */
export function calculate(expression) {
  const tokens = expression.replace(/[,_](?=\d{3})/g, "").replace(/[×x]/g, "*").replace(/÷/g, "/").match(/(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|\*\*|[-+*/%^()]|\S/gi) ?? [];
  const take = (...wanted) => (wanted.includes(tokens[0]) ? tokens.shift() : undefined);
  const atom = () => {
    if (take("-")) return -power();
    if (take("(")) {
      const value = sum();
      if (!take(")")) throw new Error("a parenthesis is not closed");
      return value;
    }
    const token = tokens.shift();
    if (!/\d/.test(token ?? "")) throw new Error(`expected a number, not ${token ?? "the end"}`);
    return Number(token);
  };
  const power = () => {
    const base = atom();
    return take("^", "**") ? base ** power() : base;
  };
  const product = () => {
    let value = power();
    for (let sign; (sign = take("*", "/", "%")); ) {
      const next = power();
      value = sign === "*" ? value * next : sign === "/" ? value / next : value % next;
    }
    return value;
  };
  const sum = () => {
    let value = product();
    for (let sign; (sign = take("+", "-")); ) value = sign === "+" ? value + product() : value - product();
    return value;
  };
  const value = sum();
  if (tokens.length > 0) throw new Error(`unexpected ${tokens[0]}`);
  return value;
}
