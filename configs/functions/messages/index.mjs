// A handler for messages of NATS and Redis: docs/guide/documents.md tells the form of the document.
export const handler = async (event) => {
  for (const record of event.Records) {
    const text = Buffer.from(record.data, "base64").toString();
    console.log(`${record.subject ?? record.channel}: ${text}`);
    if (record.reply) return { received: text }; // published to the subject that waits for it
  }
};
