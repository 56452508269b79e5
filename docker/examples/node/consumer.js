// Prints the user service's events, each once and in order, as lines of JSON:
//
//   npm install && RABBITMQ_URL=amqp://guest:guest@localhost:5672/ node consumer.js my-service.user-events
//
// Copy it, and put your own effect in place of the print.
import amqp from "amqplib";

const [url, queue] = [process.env.RABBITMQ_URL, process.argv[2]];
if (!url || !queue) {
  console.error("usage: RABBITMQ_URL=amqp://… node consumer.js QUEUE");
  process.exit(1);
}

// What was handled. Keep this in your database, and write it in the transaction of your effect: then
// neither a crash between effect and ack nor one before it does harm.
const seen = new Set(); // ids
const last = new Map(); // the latest sequence of each user and source

// Does what there is to do, unless it was done: an event may come twice.
function handle(body) {
  const event = JSON.parse(body);
  const stream = `${event.source} ${event.subject}`;
  // Sequences have a fixed width, so that texts compare as numbers do.
  if (seen.has(event.id) || event.sequence <= (last.get(stream) ?? "")) return;
  seen.add(event.id);
  last.set(stream, event.sequence);
  console.log(body);
}

// Takes events until the connection is lost.
async function consume() {
  const connection = await amqp.connect(url);
  const lost = new Promise((_, reject) => {
    connection.on("error", () => {}); // "close" follows
    connection.on("close", () => reject(new Error("the connection was lost")));
  });
  lost.catch(() => {}); // also when nobody waits for it yet
  const channel = await connection.createChannel();
  channel.on("error", () => connection.close().catch(() => {}));
  await channel.assertQueue(queue, { durable: true }); // it gathers what comes while you are away
  await channel.assertExchange("user.events", "topic", { durable: true });
  await channel.bindQueue(queue, "user.events", "#"); // "user.*" for some
  await channel.prefetch(100);
  const take = (message) => {
    if (message === null) return connection.close().catch(() => {}); // the queue was deleted
    handle(message.content.toString());
    channel.ack(message); // after the effect, never before
  };
  await channel.consume(queue, take, { exclusive: true }); // the only consumer: two would mix up the order
  await lost;
}

for (;;) {
  await consume().catch((error) => console.error(`${error.message}; trying again`));
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
