import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { HttpAdapterHost } from '@nestjs/core';
import { BATCH_BYTES } from './batch.js';

/** The most bytes of JSON that the host's parser takes; undefined when it cannot be known. */
export async function bodyLimitOf(
  adapter: HttpAdapterHost['httpAdapter'],
): Promise<number | undefined> {
  const instance: unknown = adapter.getInstance();
  switch (adapter.getType()) {
    case 'express':
      return limitOfExpress(instance);
    case 'fastify':
      return limitOfFastify(instance);
    default:
      return undefined;
  }
}

type Handler = (
  request: IncomingMessage,
  response: object,
  next: (error?: unknown) => void,
) => void;

/**
 * Express's parser keeps its limit to itself, and names it in the error for a body that announces
 * more than that: it is asked with such an announcement, once, and no body.
 */
function limitOfExpress(application: unknown): Promise<number | undefined> {
  const stack = member(member(application, 'router'), 'stack');
  const layers: unknown[] = Array.isArray(stack) ? stack : [];
  const parser = layers.map((layer) => member(layer, 'handle')).find(isJsonParser);
  if (parser === undefined) {
    return Promise.resolve(undefined);
  }
  const request = new IncomingMessage(new Socket());
  request.method = 'POST';
  request.headers = { 'content-type': 'application/json', 'content-length': String(BATCH_BYTES) };
  request.push(null);
  return new Promise((resolve) => {
    parser(request, {}, (error) => resolve(numberOf(member(error, 'limit'))));
  });
}

function isJsonParser(handle: unknown): handle is Handler {
  return typeof handle === 'function' && handle.name === 'jsonParser';
}

/** Fastify's own limit, or the one its JSON parser was registered with. */
function limitOfFastify(instance: unknown): number | undefined {
  const parsers = symbolMember(instance, 'fastify.contentTypeParser');
  const custom = member(parsers, 'customParsers');
  const json: unknown = custom instanceof Map ? custom.get('application/json') : undefined;
  return (
    numberOf(member(json, 'bodyLimit')) ??
    numberOf(member(member(instance, 'initialConfig'), 'bodyLimit'))
  );
}

function member(of: unknown, name: string): unknown {
  const isHolder = (typeof of === 'object' && of !== null) || typeof of === 'function';
  return isHolder ? (of as Readonly<Record<string, unknown>>)[name] : undefined;
}

function symbolMember(of: unknown, description: string): unknown {
  if (typeof of !== 'object' || of === null) {
    return undefined;
  }
  const symbol = Object.getOwnPropertySymbols(of).find((each) => each.description === description);
  return symbol === undefined ? undefined : (of as Readonly<Record<symbol, unknown>>)[symbol];
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
