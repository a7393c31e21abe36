//! `GET /api/rdpfile`: a file for a remote desktop client, which then goes through the bastion by itself.
//!
//! Unlike everywhere else on the data plane the access token comes in a header. The file is a secret: it holds a
//! token, and is worth nothing here, because nobody serves what it leads to.

use super::access::{TokenFlaw, hex};
use super::answers::{INTERNAL, gateway_error};
use super::exchange::admit;
use super::http::{Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::terrain::SimulatedBastion;
use super::verdict::Verdict;
use super::world::World;
use crate::model::{Endpoint, ResourceId};
use crate::sys::clock;

/// The file, or why there is none.
pub(super) fn file(world: &World, bastion: &SimulatedBastion, request: &Request) -> Verdict {
    let mut entry = RequestEntry::of(EntryKind::Rdp, request);
    let answer = write(world, bastion, request, &mut entry);
    Verdict::answer(entry, answer.unwrap_or_else(|refusal| refusal))
}

fn write(
    world: &World,
    bastion: &SimulatedBastion,
    request: &Request,
    entry: &mut RequestEntry,
) -> Result<Response, Response> {
    if request.method != "GET" {
        return Err(gateway_error(405, "HTTP 405 Method Not Allowed"));
    }
    let unauthorized = || Response::text(401, "Unauthorized");
    let Some(token) = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "))
    else {
        entry.violate("G38", "no bearer token");
        return Err(unauthorized());
    };
    match world.tokens.check(token, clock::now()) {
        Ok(()) => {}
        Err(TokenFlaw::Expired) => return Err(unauthorized()),
        Err(TokenFlaw::Shape | TokenFlaw::Foreign | TokenFlaw::Unknown) => {
            return Err(gateway_error(403, "The access token is not valid for this resource."));
        }
    }
    let wish = match Wish::read(request, entry) {
        Ok(wish) => wish,
        Err(what) => {
            entry.violate("G38", what);
            return Err(gateway_error(500, INTERNAL));
        }
    };
    admit(bastion)?;
    let missing = || gateway_error(404, "Target resource not found");
    let endpoint = ResourceId::parse(&wish.resource).map(Endpoint::Resource).map_err(|_| missing())?;
    world.terrain().machine(&endpoint).ok_or_else(missing)?;
    entry.target = Some(format!("{endpoint}:{}", wish.port));
    Ok(Response::text(200, &wish.text(&endpoint.to_string(), &bastion.host, world.port)))
}

/// What the query asks for.
struct Wish {
    resource: String,
    port: u16,
    entra: bool,
}

impl Wish {
    fn read(request: &Request, entry: &mut RequestEntry) -> Result<Self, &'static str> {
        let mut wish = Self { resource: String::new(), port: 3389, entra: false };
        let mut format = String::new();
        for (name, value) in request.query() {
            match name.as_str() {
                "resourceId" => wish.resource = value,
                "format" => format = value,
                "rdpport" => {
                    let port = value.parse().ok().filter(|port| *port != 0);
                    wish.port = port.ok_or("rdpport is not a number from 1 to 65535")?;
                }
                "enablerdsaad" => {
                    let flag = value.to_ascii_lowercase().parse();
                    wish.entra = flag.map_err(|_| "enablerdsaad is neither true nor false")?;
                }
                _ => entry.violate("G38", "a field that the query does not have"),
            }
        }
        if wish.resource.is_empty() || format != "rdp" {
            return Err("no resourceId, or format is not rdp");
        }
        Ok(wish)
    }

    fn text(&self, machine: &str, gateway: &str, gateway_port: u16) -> String {
        let secret = |bytes: [u8; 32]| hex(&bytes);
        let mut lines = vec![
            format!("full address:s:{machine}:{}", self.port),
            format!("alternate full address:s:{machine}:{}", self.port),
            format!("hostname:s:{machine}"),
            "use multimon:i:1".to_owned(),
            format!("server port:i:{}", self.port),
            format!("gatewayhostname:s:{gateway}:{gateway_port}"),
            "gatewaycredentialssource:i:5".to_owned(),
            "gatewayusagemethod:i:1".to_owned(),
            "gatewayprofileusagemethod:i:1".to_owned(),
            format!("gatewayaccesstoken:s:{}", secret(rand::random())),
        ];
        if self.entra {
            lines.push("enablerdsaadauth:i:1".to_owned());
        }
        lines.push("signscope:s:Full Address,Alternate Full Address,Server Port,GatewayHostname".to_owned());
        lines.push(format!("signature:s:{}", secret(rand::random())));
        lines.join("\r\n") + "\r\n"
    }
}
