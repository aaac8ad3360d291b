// CDDL (RFC 8610), as much of it as a schema of arrays, maps, choices and sizes needs: parsed from the schema's text, so that a
// trace is judged by what the document says and not by the tables that the document was made from.

type Node =
  | { readonly kind: "primitive"; readonly name: string }
  | { readonly kind: "rule"; readonly name: string }
  | { readonly kind: "literal"; readonly value: string | number }
  | { readonly kind: "array" | "map"; readonly entries: readonly Entry[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | { readonly kind: "size"; readonly of: Node; readonly bytes: number };

interface Entry {
  readonly least: number;
  readonly most: number;
  /** Of a map: a name, or the type of any key. In arrays names are only for the reader. */
  readonly key: string | Node | undefined;
  readonly type: Node;
}

const isInteger = (value: unknown): boolean => typeof value === "bigint" || Number.isInteger(value);

/** The standard prelude's types (RFC 8610 appendix D) that have a test here. */
const PRIMITIVES: Readonly<Record<string, (value: unknown) => boolean>> = {
  any: () => true,
  uint: (value) => isInteger(value) && (value as number | bigint) >= 0,
  int: isInteger,
  tstr: (value) => typeof value === "string",
  bstr: (value) => value instanceof Uint8Array,
  bool: (value) => typeof value === "boolean",
  nil: (value) => value === null,
};

const TOKEN = /\s+|;[^\n]*|"[^"]*"|-?\d+|=>|[=/[\]{},:*?]|\.size\b|[A-Za-z][A-Za-z0-9-]*/y;

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const token = TOKEN.exec(text)?.[0];
    if (token === undefined) throw new Error(`CDDL: ${JSON.stringify(text.slice(at, at + 20))} is beyond this parser`);
    if (!/^(\s|;)/.test(token)) tokens.push(token);
  }
  return tokens;
}

export class Schema {
  readonly #rules = new Map<string, Node>();
  readonly #tokens: string[];
  #at = 0;

  /** @throws Error on text that is no CDDL, uses more of it than this, or names a rule that it does not have */
  constructor(text: string) {
    this.#tokens = tokensOf(text);
    const wanted = new Set<string>();
    while (this.#at < this.#tokens.length) {
      const name = this.#take();
      this.#expect("=");
      if (this.#rules.has(name)) throw new Error(`CDDL: ${name} has two rules`);
      this.#rules.set(name, this.#type(wanted));
    }
    for (const name of wanted) if (!this.#rules.has(name)) throw new Error(`CDDL: there is no rule ${name}`);
  }

  get rules(): string[] {
    return [...this.#rules.keys()];
  }

  /** Whether a decoded value is what a rule says. */
  matches(rule: string, value: unknown): boolean {
    const node = this.#rules.get(rule);
    if (node === undefined) throw new Error(`CDDL: there is no rule ${rule}`);
    return this.#fits(node, value);
  }

  #fits(node: Node, value: unknown): boolean {
    switch (node.kind) {
      case "primitive":
        return PRIMITIVES[node.name]!(value);
      case "rule":
        return this.matches(node.name, value);
      case "literal":
        return value === node.value;
      case "choice":
        return node.options.some((option) => this.#fits(option, value));
      case "size":
        return this.#fits(node.of, value) && value instanceof Uint8Array && value.length === node.bytes;
      case "array":
        return Array.isArray(value) && this.#fitsArray(node.entries, value, 0, 0);
      case "map":
        return this.#fitsMap(node.entries, value);
    }
  }

  /** Entries from `entry` on against elements from `element` on: as many elements as fit, then fewer. */
  #fitsArray(entries: readonly Entry[], elements: readonly unknown[], entry: number, element: number): boolean {
    const current = entries[entry];
    if (current === undefined) return element === elements.length;
    let count = 0;
    while (
      count < current.most &&
      element + count < elements.length &&
      this.#fits(current.type, elements[element + count])
    ) {
      count++;
    }
    for (; count >= current.least; count--) {
      if (this.#fitsArray(entries, elements, entry + 1, element + count)) return true;
    }
    return false;
  }

  #fitsMap(entries: readonly Entry[], value: unknown): boolean {
    const plain =
      typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
    if (!plain) return false;
    const left = new Map(Object.entries(value));
    for (const { key, type, least } of entries) {
      if (typeof key === "string") {
        if (left.has(key) ? !this.#fits(type, left.get(key)) : least > 0) return false;
        left.delete(key);
      } else if (key !== undefined) {
        for (const [name, item] of left) if (this.#fits(key, name) && this.#fits(type, item)) left.delete(name);
      }
    }
    return left.size === 0;
  }

  #type(wanted: Set<string>): Node {
    const options = [this.#sized(wanted)];
    while (this.#tokens[this.#at] === "/") {
      this.#at++;
      options.push(this.#sized(wanted));
    }
    return options.length === 1 ? options[0]! : { kind: "choice", options };
  }

  #sized(wanted: Set<string>): Node {
    const of = this.#single(wanted);
    if (this.#tokens[this.#at] !== ".size") return of;
    this.#at++;
    return { kind: "size", of, bytes: Number(this.#take()) };
  }

  #single(wanted: Set<string>): Node {
    const token = this.#take();
    if (token === "[") return { kind: "array", entries: this.#entries("]", wanted) };
    if (token === "{") return { kind: "map", entries: this.#entries("}", wanted) };
    if (token.startsWith('"')) return { kind: "literal", value: token.slice(1, -1) };
    if (/^-?\d/.test(token)) return { kind: "literal", value: Number(token) };
    if (!/^[A-Za-z]/.test(token)) throw new Error(`CDDL: a type is missing before ${token}`);
    if (Object.hasOwn(PRIMITIVES, token)) return { kind: "primitive", name: token };
    wanted.add(token);
    return { kind: "rule", name: token };
  }

  #entries(close: string, wanted: Set<string>): Entry[] {
    const entries: Entry[] = [];
    while (this.#tokens[this.#at] !== close) {
      const mark = this.#tokens[this.#at];
      if (mark === "*" || mark === "?") this.#at++;
      const [least, most] = mark === "*" ? [0, Infinity] : mark === "?" ? [0, 1] : [1, 1];
      let key: string | Node | undefined;
      if (this.#tokens[this.#at + 1] === ":") {
        key = this.#take();
        this.#at++;
      }
      let type = this.#type(wanted);
      if (this.#tokens[this.#at] === "=>") {
        this.#at++;
        key = type;
        type = this.#type(wanted);
      }
      entries.push({ least, most, key, type });
      if (this.#tokens[this.#at] === ",") this.#at++;
    }
    this.#at++;
    return entries;
  }

  #take(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Error("CDDL: the text ends too early");
    return token;
  }

  #expect(wanted: string): void {
    const token = this.#take();
    if (token !== wanted) throw new Error(`CDDL: ${wanted} is missing before ${token}`);
  }
}
