// An ordinary AWS Lambda handler for schedules. Nothing in it knows millrace.
export const handler = async (event) => {
  console.log(`${event["detail-type"]} of ${event.time}, by ${event.resources[0]}`);
};
