const hang = () => new Promise(() => setInterval(() => {}, 1000));

export const handler = async (event, context) => {
  switch (event.do) {
    case 'fail': {
      const error = new RangeError(event.message);
      throw error;
    }
    case 'throw': throw event.message;
    case 'crash': process.exit(1);
    case 'hang': return hang();
    case 'sleep':
      await new Promise((resolve) => setTimeout(resolve, event.ms));
      return event;
    case 'large': return 'x'.repeat(event.size);
    case 'log':
      for (const line of event.lines) console.log(line);
      return event;
    case 'nothing': return undefined;
    case 'loop': {
      const o = {};
      o.o = o;
      return o;
    }
    case 'reject':
      Promise.reject(new Error(event.message));
      return hang();
    case 'never': return new Promise(() => {});
    case 'all': return {
      name: context.functionName, version: context.functionVersion, memory: context.memoryLimitInMB,
      group: context.logGroupName, left: context.getRemainingTimeInMillis(), runtime: process.env.AWS_EXECUTION_ENV,
    };
    case 'context': return {
      requestId: context.awsRequestId, arn: context.invokedFunctionArn, traceId: process.env._X_AMZN_TRACE_ID,
      clientContext: JSON.stringify(context.clientContext), tenantId: context.tenantId,
    };
    default: return event;
  }
};

// The suite has one handler for every command, so this one streams only when told to.
export const streaming = awslambda.streamifyResponse(async (event, out, context) => {
  if (event.do === 'hang') return hang();
  if (event.do === 'fail') throw new RangeError(event.message);
  if (event.do === 'http') {
    out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { 'x-a': 'b' } });
    out.write('hello');
    out.end();
    return;
  }
  out.setContentType('text/plain');
  for (const chunk of event.chunks || []) out.write(chunk);
  if (event.message) throw new Error(event.message);
  out.end(event.chunks ? undefined : JSON.stringify(event));
});
