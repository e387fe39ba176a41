exports.handler = async (event, context) => {
  console.log("node saw", context.awsRequestId);
  if (event.do === "fail") throw new TypeError("asked to fail");
  return { from: "node", id: context.awsRequestId, arn: context.invokedFunctionArn, event };
};
