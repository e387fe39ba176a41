// Runs a Lambda handler written for Node.js: asks the Runtime API for events, calls the handler, posts
// answers. It needs Node.js 18 and nothing but its own modules.

import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';

const env = process.env;
const base = '/2018-06-01/runtime/';
const errorType = 'Lambda-Runtime-Function-Error-Type';
const errorBody = 'Lambda-Runtime-Function-Error-Body';
const asJSON = env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
const streams = Symbol.for('millrace.streams');
const types = new WeakMap(); // content type of an answer in pieces

// Api is one kept connection to the Runtime API, whose answers always have a Content-Length.
class Api {
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.address = address;
    this.socket = net.connect(Number(address.slice(colon + 1)), address.slice(0, colon));
    this.socket.setNoDelay(true);
    this.input = [];
    this.size = 0;
    this.socket.on('data', (data) => {
      this.input.push(data);
      this.size += data.length;
      this.read();
    });
    const gone = () => process.exit(1); // there is nobody to work for
    this.socket.on('error', gone);
    this.socket.on('close', gone);
  }

  // read looks for a whole answer in what has arrived.
  read() {
    if (!this.head) {
      if (this.input.length > 1) this.input = [Buffer.concat(this.input)];
      const text = this.input[0];
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const lines = text.toString('utf8', 0, end).split('\r\n');
      const headers = {};
      for (let i = 1; i < lines.length; i++) {
        const colon = lines[i].indexOf(':');
        headers[lines[i].slice(0, colon).toLowerCase()] = lines[i].slice(colon + 1).trim();
      }
      this.head = { status: Number(lines[0].split(' ')[1]), headers, length: Number(headers['content-length']) };
      this.input = [text.subarray(end + 4)];
      this.size -= end + 4;
    }
    if (this.size < this.head.length) return;
    const { status, headers, length } = this.head;
    const all = this.input.length > 1 ? Buffer.concat(this.input) : this.input[0];
    const rest = all.subarray(length);
    this.input = rest.length ? [rest] : [];
    this.size = rest.length;
    this.head = undefined;
    const answered = this.answered;
    this.answered = undefined;
    answered({ status, headers, body: all.subarray(0, length) });
  }

  answer() {
    return new Promise((resolve) => { this.answered = resolve; });
  }

  next() {
    this.socket.ref();
    this.socket.write(`GET ${base}invocation/next HTTP/1.1\r\nHost: ${this.address}\r\n\r\n`);
    return this.answer();
  }

  post(where, text, type) {
    this.socket.ref();
    const extra = type ? `${errorType}: ${oneLine(type)}\r\n` : '';
    this.socket.write(`POST ${base}${where} HTTP/1.1\r\nHost: ${this.address}\r\nContent-Type: application/json\r\n` +
      `${extra}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    return this.answer();
  }

  // open begins an answer in pieces.
  open(id, type) {
    this.socket.ref();
    this.socket.write(`POST ${base}invocation/${id}/response HTTP/1.1\r\nHost: ${this.address}\r\n` +
      `Content-Type: ${oneLine(type)}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n` +
      `Transfer-Encoding: chunked\r\nTrailer: ${errorType}, ${errorBody}\r\n\r\n`);
  }

  piece(data, done) {
    this.socket.cork();
    this.socket.write(data.length.toString(16) + '\r\n');
    this.socket.write(data);
    const more = this.socket.write('\r\n');
    this.socket.uncork();
    if (more) done();
    else this.socket.once('drain', done);
  }

  end(failure) {
    let trailers = '';
    if (failure) {
      const body = Buffer.from(JSON.stringify(failure)).toString('base64');
      trailers = `${errorType}: ${oneLine(failure.errorType)}\r\n${errorBody}: ${body}\r\n`;
    }
    this.socket.write(`0\r\n${trailers}\r\n`);
    return this.answer();
  }
}

function oneLine(text) {
  return String(text).replace(/[^\x20-\x7e]/g, ' ');
}

// Fault is a failure with a type that is not the name of a class.
class Fault extends Error {
  constructor(type, message) {
    super(message);
    this.name = type;
  }
}

function describe(error) {
  if (error instanceof Error || (error && typeof error === 'object' && 'message' in error && 'stack' in error)) {
    return {
      errorType: String(error.name || 'Error'),
      errorMessage: String(error.message),
      trace: String(error.stack || '').split('\n'),
    };
  }
  return {
    errorType: error === null ? 'object' : typeof error,
    errorMessage: typeof error === 'string' ? error : format('%s', error),
    trace: [],
  };
}

// The log: each line tells the time, the request and the level.

let requestId;

function log(level, args) {
  const time = new Date().toISOString();
  const text = format(...args);
  if (!asJSON) {
    process.stdout.write(`${time}\t${requestId}\t${level}\t${text}\n`);
    return;
  }
  const line = { timestamp: time, level, requestId, message: args.length === 1 && typeof args[0] === 'object' ? args[0] : text };
  for (const arg of args) {
    if (arg instanceof Error) {
      line.message = text;
      line.errorType = arg.name;
      line.errorMessage = arg.message;
      line.stackTrace = String(arg.stack).split('\n');
      break;
    }
  }
  let out;
  try {
    out = JSON.stringify(line);
  } catch {
    out = JSON.stringify({ ...line, message: text });
  }
  process.stdout.write(out + '\n');
}

function patchConsole() {
  const levels = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };
  const order = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
  const least = asJSON ? Math.max(0, order.indexOf(env.AWS_LAMBDA_LOG_LEVEL)) : 0;
  for (const [name, level] of Object.entries(levels)) {
    console[name] = order.indexOf(level) < least ? () => {} : (...args) => log(level, args);
  }
}

// Pieces is the stream that a handler wrapped by streamifyResponse writes its answer to.
class Pieces extends Writable {
  constructor(api, id) {
    super();
    this.api = api;
    this.id = id;
    this.opened = false;
  }

  setContentType(type) {
    types.set(this, type);
  }

  begin() {
    if (this.opened) return;
    this.opened = true;
    this.api.open(this.id, types.get(this) || 'application/octet-stream');
    if (this.prelude) {
      const prelude = this.prelude;
      this.prelude = undefined;
      this.api.piece(Buffer.concat([Buffer.from(prelude), Buffer.alloc(8)]), () => {});
    }
  }

  _write(chunk, encoding, done) {
    this.begin();
    if (chunk.length === 0) done();
    else this.api.piece(chunk, done);
  }

  _final(done) {
    this.begin();
    done();
  }
}

globalThis.awslambda = {
  streamifyResponse(handler, options) {
    handler[streams] = options || {};
    return handler;
  },
  HttpResponseStream: {
    from(stream, prelude) {
      stream.setContentType('application/vnd.awslambda.http-integration-response');
      stream.prelude = JSON.stringify(prelude);
      return stream;
    },
  },
};

// load finds the handler that "folder/file.export" names.
async function load(name) {
  const folder = path.dirname(name);
  const [, file, property] = /^([^.]+)\.(.+)$/.exec(path.basename(name)) || [];
  if (!file) throw new Fault('Runtime.MalformedHandlerName', 'Bad handler');
  if (name.includes('..')) throw new Fault('Runtime.MalformedHandlerName', `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  let found = await importCode(path.resolve(env.LAMBDA_TASK_ROOT, folder, file), path.join(folder, file));
  for (const key of property.split('.')) found = found === undefined || found === null ? undefined : found[key];
  if (found === undefined) throw new Fault('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof found !== 'function') throw new Fault('Runtime.HandlerNotFound', `${name} is not a function`);
  return found;
}

async function importCode(stem, name) {
  const require = createRequire(path.join(env.LAMBDA_TASK_ROOT, 'index.js'));
  const file = ['', '.js', '.mjs', '.cjs'].map((ext) => stem + ext).find((f) => existsSync(f) && statSync(f).isFile());
  try {
    if (file && (file.endsWith('.mjs') || (file.endsWith('.js') && isModule(path.dirname(file))))) {
      return await import(pathToFileURL(file).href);
    }
    return require(file || require.resolve(name, { paths: [env.LAMBDA_TASK_ROOT, path.dirname(stem)] }));
  } catch (error) {
    if (error instanceof SyntaxError) throw reclass(error, 'Runtime.UserCodeSyntaxError');
    if (error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND')) throw reclass(error, 'Runtime.ImportModuleError');
    throw error;
  }
}

// isModule tells whether the nearest package.json makes .js files ECMAScript modules.
function isModule(dir) {
  for (;;) {
    const file = path.join(dir, 'package.json');
    if (existsSync(file)) {
      try {
        return JSON.parse(readFileSync(file, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    const up = path.dirname(dir);
    if (up === dir || path.basename(dir) === 'node_modules') return false;
    dir = up;
  }
}

function reclass(error, type) {
  const fault = new Fault(type, String(error));
  fault.stack = `${type}: ${error.stack}`;
  return fault;
}

function makeContext(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const parse = (name) => (headers[name] ? JSON.parse(headers[name]) : undefined);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    clientContext: parse('lambda-runtime-client-context'),
    identity: parse('lambda-runtime-cognito-identity'),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

// whenIdle is called when the event loop has nothing left to do.
let whenIdle = () => {};
process.on('beforeExit', () => {
  const f = whenIdle;
  whenIdle = () => {};
  f();
});

// call runs the handler and resolves with what it returns, or passes to its callback, whichever comes first.
function call(handler, event, context) {
  return new Promise((resolve, reject) => {
    let called = false;
    const callback = (error, value) => {
      if (called) return;
      called = true;
      const finish = () => (error === undefined || error === null ? resolve(value) : reject(error));
      if (context.callbackWaitsForEmptyEventLoop) whenIdle = finish;
      else setImmediate(finish);
    };
    context.done = callback;
    context.succeed = (value) => { context.callbackWaitsForEmptyEventLoop = false; callback(null, value); };
    context.fail = (error) => { context.callbackWaitsForEmptyEventLoop = false; callback(error ?? 'handled'); };
    // A handler that neither returns a promise nor calls back has answered when nothing is left to do.
    whenIdle = () => resolve(null);
    const result = handler(event, context, callback);
    // As on AWS, what is returned counts only if it is a promise.
    if (result && typeof result.then === 'function') result.then(resolve, reject);
  });
}

async function stream(api, handler, event, context) {
  const out = new Pieces(api, context.awsRequestId);
  let failure;
  const ended = new Promise((resolve) => {
    out.on('finish', resolve);
    out.on('error', (error) => { failure ??= error; resolve(); });
  });
  whenIdle = () => out.end();
  try {
    await handler(event, out, context);
    if (!out.writableEnded) out.end();
  } catch (error) {
    failure = error;
    if (!out.opened) {
      out.destroy();
      throw error;
    }
    if (!out.writableEnded) out.end();
  }
  await ended;
  if (failure) log('ERROR', ['Invoke Error', '\t', JSON.stringify(describe(failure))]);
  await api.end(failure && describe(failure));
}

async function serve(api, handler) {
  for (;;) {
    const { headers, body } = await api.next();
    const id = headers['lambda-runtime-aws-request-id'];
    requestId = id;
    for (const [name, header] of [['_X_AMZN_TRACE_ID', 'lambda-runtime-trace-id'], ['TRACEPARENT', 'traceparent']]) {
      if (headers[header]) env[name] = headers[header];
      else delete env[name];
    }
    // While the handler runs, only its own work keeps the event loop alive.
    api.socket.unref();
    let answer;
    try {
      let event;
      try {
        event = JSON.parse(body.toString());
      } catch (error) {
        throw new Fault('Runtime.UnmarshalError', `Unable to unmarshal input: ${error.message}`);
      }
      const context = makeContext(headers);
      if (handler[streams]) {
        await stream(api, handler, event, context);
        continue;
      }
      const result = await call(handler, event, context);
      try {
        answer = JSON.stringify(result === undefined ? null : result);
      } catch (error) {
        throw new Fault('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`);
      }
      if (answer === undefined) answer = 'null'; // a function or a symbol
    } catch (error) {
      whenIdle = () => {};
      const failure = describe(error);
      log('ERROR', ['Invoke Error', '\t', JSON.stringify(failure)]);
      await api.post(`invocation/${id}/error`, JSON.stringify(failure), failure.errorType);
      continue;
    }
    whenIdle = () => {};
    await api.post(`invocation/${id}/response`, answer);
  }
}

// Whatever nobody caught ends the process, and the invocation if there is one.
function fatal(api, kind, status) {
  return async (reason) => {
    const failure = describe(reason);
    if (kind === 'unhandledRejection') {
      failure.errorType = 'Runtime.UnhandledPromiseRejection';
      failure.errorMessage = String(reason);
    }
    log('ERROR', [kind === 'unhandledRejection' ? 'Unhandled Promise Rejection' : 'Uncaught Exception', '\t', JSON.stringify(failure)]);
    setTimeout(() => process.exit(status), 1000);
    if (requestId) await api.post(`invocation/${requestId}/error`, JSON.stringify(failure), failure.errorType);
    process.exit(status);
  };
}

patchConsole();
const api = new Api(env.AWS_LAMBDA_RUNTIME_API);
process.on('uncaughtException', fatal(api, 'uncaughtException', 129));
process.on('unhandledRejection', fatal(api, 'unhandledRejection', 128));
let handler;
try {
  handler = await load(env._HANDLER);
} catch (error) {
  const failure = describe(error);
  log('ERROR', ['Uncaught Exception', '\t', JSON.stringify(failure)]);
  await api.post('init/error', JSON.stringify({ ...failure, requestId: '' }), failure.errorType);
  process.exit(1);
}
await serve(api, handler);
