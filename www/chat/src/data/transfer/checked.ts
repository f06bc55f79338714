// Reads values that came from a file, and says where one is not what it must be.

import { DataError } from "../errors";
import type { ImportFormat, SkipReason, Skipped } from "./types";

/** A value of a file, with its path. */
export class Checked {
  constructor(
    readonly value: unknown,
    readonly format: ImportFormat | "unknown",
    readonly where = "",
  ) {}

  fail(expected: string): never {
    throw new DataError("format", { format: this.format, where: this.where, expected });
  }

  /** A field of an object; its value is undefined where there is none. */
  get(name: string): Checked {
    const object = this.object();
    return new Checked(
      Object.hasOwn(object, name) ? object[name] : undefined,
      this.format,
      /^[A-Za-z_]\w*$/.test(name) ? `${this.where}.${name}` : `${this.where}[${JSON.stringify(name)}]`,
    );
  }

  get absent(): boolean {
    return this.value === undefined || this.value === null;
  }

  object(): Record<string, unknown> {
    if (typeof this.value !== "object" || this.value === null || Array.isArray(this.value)) this.fail("an object");
    return this.value as Record<string, unknown>;
  }

  list(): Checked[] {
    if (!Array.isArray(this.value)) this.fail("a list");
    return this.value.map((one, i) => new Checked(one, this.format, `${this.where}[${i}]`));
  }

  text(): string {
    return typeof this.value === "string" ? this.value : this.fail("a text");
  }

  number(): number {
    return typeof this.value === "number" && Number.isFinite(this.value) ? this.value : this.fail("a number");
  }

  flag(): boolean {
    return typeof this.value === "boolean" ? this.value : this.fail("true or false");
  }

  /** One of some texts. */
  oneOf<T extends string>(...values: T[]): T {
    return values.includes(this.value as T)
      ? (this.value as T)
      : this.fail(values.map((value) => JSON.stringify(value)).join(" or "));
  }

  /** What `read` makes of it, or undefined if it is absent. */
  maybe<T>(read: (value: Checked) => T): T | undefined {
    return this.absent ? undefined : read(this);
  }

  skip(reason: SkipReason, what?: string): Skipped {
    return { where: this.where, reason, ...(what !== undefined && { what }) };
  }
}

/** An object without its undefined fields. */
export function defined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
