import { TransformationType } from 'class-transformer';
import { defaultMetadataStorage } from 'class-transformer/cjs/storage.js';
import { getMetadataStorage } from 'class-validator';
import { JobsError } from '../model/errors.js';
import { isJsonObject, type JsonObject, type JsonValue } from '../model/json.js';
import { classDefaults, type ParamsClass } from './class-defaults.js';

/** What the decorators of a class say, in one place. */
export interface ClassShape {
  readonly type: ParamsClass;
  readonly properties: ReadonlyMap<string, PropertyShape>;
}

export interface PropertyShape {
  readonly rules: readonly Rule[];
  /** The class of its values, where it has one of its own. */
  readonly nested: NestedShape | undefined;
  /** What holds those values; `unknown` where the compiler left no type and no rule tells. */
  readonly container: 'one' | 'many' | 'map' | 'unknown';
  /** Missing and null are fine. */
  readonly isOptional: boolean;
  /** Only class-validator can judge it: a condition or a transformation of the host decides. */
  readonly isOpaque: boolean;
}

/** One decorator; `each`: it applies to the items. */
export interface Rule {
  readonly name: string;
  readonly constraints: readonly unknown[];
  readonly each: boolean;
}

/** A nested class, or several told apart by the value of one property. */
export type NestedShape = ClassShape | TaggedShapes;

export interface TaggedShapes {
  readonly tag: string;
  readonly variants: ReadonlyMap<string, ClassShape>;
}

/**
 * Reads a class and all it nests, as class-validator and class-transformer will use them.
 *
 * @throws JobsError `invalid_options` when every job of the type would be refused, with the fix
 */
export function readClassShape(typeId: string, paramsClass: ParamsClass): ClassShape {
  return new ShapeReader(typeId).read(paramsClass);
}

type Metadata = ReturnType<
  ReturnType<typeof getMetadataStorage>['getTargetValidationMetadatas']
>[number];
type TypeMetadata = ReturnType<typeof defaultMetadataStorage.findTypeMetadata> | undefined;

class ShapeReader {
  readonly #typeId: string;
  readonly #shapes = new Map<ParamsClass, ClassShape>();

  constructor(typeId: string) {
    this.#typeId = typeId;
  }

  read(type: ParamsClass): ClassShape {
    const known = this.#shapes.get(type);
    if (known !== undefined) {
      return known;
    }
    const properties = new Map<string, PropertyShape>();
    const shape = { type, properties };
    // Before its properties, since a class may nest itself.
    this.#shapes.set(type, shape);
    const decorators = byProperty(metadataOf(type));
    if (decorators.size === 0) {
      throw this.#refuse(
        `${type.name} has no class-validator decorators`,
        'Decorate its fields, or leave "params" out to take any JSON.',
      );
    }
    const defaults = this.#defaultsOf(type, decorators);
    for (const [property, metadata] of decorators) {
      const preset = Object.hasOwn(defaults, property) ? defaults[property] : undefined;
      properties.set(property, this.#readProperty(type, property, metadata, preset));
    }
    return shape;
  }

  /** class-validator refuses an instance with a field it does not know, whatever the input. */
  #defaultsOf(type: ParamsClass, decorators: ReadonlyMap<string, unknown>): JsonObject {
    let fields: string[];
    let defaults: JsonObject;
    try {
      fields = Object.keys(new type());
      defaults = classDefaults(type);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw this.#refuse(
        `${type.name} gives no defaults: ${reason}`,
        'new ' + type.name + '() must work without arguments and hold plain data.',
        cause,
      );
    }
    const undecorated = fields.find((field) => !decorators.has(field));
    if (undecorated !== undefined) {
      throw this.#refuse(
        `${type.name}.${undecorated} has no class-validator decorator`,
        'Add one (@Allow() accepts anything), or make it a #private field or a getter.',
      );
    }
    return defaults;
  }

  #readProperty(
    type: ParamsClass,
    property: string,
    all: readonly Metadata[],
    preset: JsonValue | undefined,
  ): PropertyShape {
    const rules = all.map(toRule);
    const typed: TypeMetadata = defaultMetadataStorage.findTypeMetadata(type, property);
    const isOpaque = all.some(isConditional) || isTransformed(type, property);
    const nested = isOpaque ? undefined : this.#readNested(type, property, rules, typed);
    return {
      rules,
      nested,
      container: containerOf(rules, typed?.reflectedType, preset),
      isOptional: rules.some((rule) => rule.name === 'isOptional'),
      isOpaque,
    };
  }

  #readNested(
    type: ParamsClass,
    property: string,
    rules: readonly Rule[],
    typed: TypeMetadata,
  ): NestedShape | undefined {
    const wantsNested = rules.some((rule) => rule.name === 'nestedValidation');
    if (typed === undefined && wantsNested) {
      throw this.#refuse(
        `${type.name}.${property} has @ValidateNested() but no @Type(() => …)`,
        'Add it, from the same copy of class-transformer as this package uses.',
      );
    }
    // A function with a parameter picks the class for each value: class-validator alone can follow.
    if (typed?.typeFunction === undefined || typed.typeFunction.length > 0) {
      return undefined;
    }
    const { property: tag, subTypes = [] } = typed.options?.discriminator ?? {};
    if (tag !== undefined) {
      const classes = subTypes.map(({ name, value }) => [name, value as ParamsClass] as const);
      return { tag, variants: new Map(classes.map(([name, value]) => [name, this.read(value)])) };
    }
    const nested = typed.typeFunction();
    const isChecked = wantsNested || (isClass(nested) && metadataOf(nested).length > 0);
    return isClass(nested) && isChecked ? this.read(nested) : undefined;
  }

  #refuse(problem: string, fix: string, cause?: unknown): JobsError {
    const message = `The params class of "${this.#typeId}" cannot be used: ${problem}. ${fix}`;
    return new JobsError('invalid_options', message, { cause });
  }
}

/** The very list class-validator goes by for an instance of the class, inheritance included. */
function metadataOf(type: ParamsClass): Metadata[] {
  return getMetadataStorage().getTargetValidationMetadatas(type, '', false, false);
}

function byProperty(all: readonly Metadata[]): Map<string, Metadata[]> {
  const grouped = new Map<string, Metadata[]>();
  for (const metadata of all) {
    grouped.set(metadata.propertyName, [...(grouped.get(metadata.propertyName) ?? []), metadata]);
  }
  return grouped;
}

function toRule(metadata: Metadata): Rule {
  const [constraint] =
    metadata.constraintCls === undefined
      ? []
      : getMetadataStorage().getTargetValidatorConstraints(metadata.constraintCls);
  const isOptional = metadata.type === 'conditionalValidation' && metadata.name === 'isOptional';
  return {
    name: isOptional ? 'isOptional' : (constraint?.name ?? metadata.type),
    constraints: metadata.constraints ?? [],
    each: metadata.each === true,
  };
}

function isConditional(metadata: Metadata): boolean {
  return (
    metadata.validateIf !== undefined ||
    (metadata.type === 'conditionalValidation' && metadata.name !== 'isOptional')
  );
}

function isTransformed(type: ParamsClass, property: string): boolean {
  const toClass = TransformationType.PLAIN_TO_CLASS;
  return defaultMetadataStorage.findTransformMetadatas(type, property, toClass).length > 0;
}

function containerOf(
  rules: readonly Rule[],
  reflected: unknown,
  preset: JsonValue | undefined,
): PropertyShape['container'] {
  if (reflected === Map) {
    return 'map';
  }
  const isArray = reflected === Array || reflected === Set || Array.isArray(preset);
  if (isArray || rules.some(isAboutArrays)) {
    return 'many';
  }
  // `Object` is what compilers write for interfaces, and some for `Target | null`.
  const isNamed = typeof reflected === 'function' && reflected !== Object;
  return isNamed || isJsonObject(preset) ? 'one' : 'unknown';
}

function isAboutArrays({ name, each }: Rule): boolean {
  return each || name.startsWith('array') || name === 'isArray';
}

const BUILT_IN: readonly unknown[] = [
  String,
  Number,
  Boolean,
  BigInt,
  Symbol,
  Date,
  Object,
  Array,
  Map,
  Set,
  Buffer,
  RegExp,
];

function isClass(value: unknown): value is ParamsClass {
  return typeof value === 'function' && value.prototype !== undefined && !BUILT_IN.includes(value);
}
