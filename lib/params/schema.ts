import { canonicalJson, setOwn, type JsonObject } from '../model/json.js';
import { classDefaults } from './class-defaults.js';
import type { ClassShape, NestedShape, PropertyShape, Rule, TaggedShapes } from './class-shape.js';
import { intersection, orNull } from './keyword-algebra.js';
import { keywordsOf } from './keywords.js';

/**
 * The JSON Schema of a params class: one document, nested classes under `$defs`. It keeps to what
 * draft-07 and 2020-12 read alike, and so names neither.
 */
export function schemaOf(root: ClassShape): JsonObject {
  return new SchemaWriter(root).write();
}

class SchemaWriter {
  readonly #root: ClassShape;
  readonly #definitions: JsonObject = {};
  /** A class told apart by a discriminator is a definition of its own: it has one field more. */
  readonly #names = new Map<ClassShape, Map<string, string>>();

  constructor(root: ClassShape) {
    this.#root = root;
  }

  write(): JsonObject {
    const schema = this.#object(this.#root);
    return Object.keys(this.#definitions).length === 0
      ? schema
      : { ...schema, $defs: this.#definitions };
  }

  #object(shape: ClassShape, tag?: { property: string; value: string }): JsonObject {
    const defaults = classDefaults(shape.type);
    const properties: JsonObject = {};
    const required: string[] = [];
    for (const [name, property] of shape.properties) {
      const schema = this.#property(property);
      const value = Object.hasOwn(defaults, name) ? defaults[name] : undefined;
      setOwn(properties, name, value === undefined ? schema : { ...schema, default: value });
      if (value === undefined && isRequired(property)) {
        required.push(name);
      }
    }
    if (tag !== undefined) {
      properties[tag.property] = { const: tag.value };
      required.push(...(required.includes(tag.property) ? [] : [tag.property]));
    }
    return {
      type: 'object',
      properties,
      ...(required.length > 0 ? { required } : {}),
      additionalProperties: false,
    };
  }

  #property(property: PropertyShape): JsonObject {
    if (property.isOpaque) {
      return {};
    }
    const ofItems = property.rules.filter((rule) => rule.each && rule.name !== 'nestedValidation');
    const ofValue = property.rules.filter((rule) => !rule.each);
    const parts = ofValue.map(keywordsOfRule);
    const items = intersection(ofItems.map(keywordsOfRule));
    if (ofItems.length > 0) {
      parts.push(containerOf(property, items));
    }
    if (property.nested !== undefined) {
      parts.push(containerOf(property, this.#nested(property.nested)));
    }
    const schema = intersection(parts);
    return property.isOptional ? orNull(schema) : schema;
  }

  #nested(nested: NestedShape): JsonObject {
    return 'tag' in nested ? this.#variants(nested) : this.#reference(nested);
  }

  /** Branches by `if`, so that a mistake is reported for the variant it was made in alone. */
  #variants({ tag, variants }: TaggedShapes): JsonObject {
    const branches = [...variants].map(([value, shape]) => ({
      if: { properties: { [tag]: { const: value } }, required: [tag] },
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema, never awaited
      then: this.#reference(shape, { property: tag, value }),
    }));
    return {
      type: 'object',
      properties: { [tag]: { enum: [...variants.keys()] } },
      required: [tag],
      allOf: branches,
    };
  }

  #reference(shape: ClassShape, tag?: { property: string; value: string }): JsonObject {
    if (shape === this.#root && tag === undefined) {
      return { $ref: '#' };
    }
    const names = this.#names.get(shape) ?? new Map<string, string>();
    this.#names.set(shape, names);
    const key = tag === undefined ? '' : canonicalJson({ ...tag });
    let name = names.get(key);
    if (name === undefined) {
      name = this.#freeName(shape.type.name);
      names.set(key, name);
      // Taken before it is written, since a class may nest itself.
      this.#definitions[name] = {};
      this.#definitions[name] = this.#object(shape, tag);
    }
    return { $ref: `#/$defs/${name}` };
  }

  #freeName(className: string): string {
    const base = className.replace(/\W/g, '_') || 'Class';
    let name = base;
    for (let count = 2; Object.hasOwn(this.#definitions, name); count += 1) {
      name = `${base}${count}`;
    }
    return name;
  }
}

function keywordsOfRule(rule: Rule): JsonObject {
  return keywordsOf(rule.name, rule.constraints) ?? {};
}

function containerOf({ container, nested }: PropertyShape, values: JsonObject): JsonObject {
  const list: JsonObject = { type: 'array', items: values };
  switch (container) {
    case 'one':
      return values;
    case 'many':
      return list;
    case 'map':
      return { type: 'object', additionalProperties: values };
    case 'unknown':
      return nested === undefined ? list : { anyOf: [values, list] };
  }
}

/** Whether class-validator refuses the absence of the property. */
function isRequired({ rules, isOptional, isOpaque }: PropertyShape): boolean {
  return !isOptional && !isOpaque && rules.some((rule) => !acceptsUndefined(rule));
}

function acceptsUndefined({ name, constraints }: Rule): boolean {
  if (name === 'nestedValidation') {
    // class-validator lets it pass; a field declared as a class means one.
    return false;
  }
  const values: unknown = constraints[0];
  return (
    ['isEmpty', 'notEquals', 'isNotIn'].includes(name) ||
    keywordsOf(name, constraints) === undefined ||
    (name === 'equals' && values === undefined) ||
    (name === 'isIn' && Array.isArray(values) && values.includes(undefined))
  );
}
