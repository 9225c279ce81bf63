"""Values in TPC-DS queries, and changes of the data, with which no query answers nothing at scale factor 0.01.

The specification draws such values at random for each run; those that the package's texts have fit larger scale factors, where the data
is left as it is. At 0.01 there are one store, one warehouse and few sales per customer, hence the changes of rows.
"""

# Run on DuckDB before the tables are handed to Slipher.
DATA = [
    "insert into warehouse select * replace (2 as w_warehouse_sk, 'AAAAAAAACAAAAAAA' as w_warehouse_id, 'Second one' as w_warehouse_name) from warehouse",
    "update catalog_sales set cs_warehouse_sk = 2 where cs_item_sk % 3 = 0",
    "update web_sales set ws_warehouse_sk = 2 where ws_item_sk % 3 = 0",
    "insert into store select * replace (2 as s_store_sk, 'AAAAAAAACAAAAAAA' as s_store_id, 'able' as s_store_name, 'Bronx County' as s_county) from store",
    "update store_sales set ss_store_sk = 2 where ss_ticket_number % 4 = 0",
    "update store_returns set sr_store_sk = 2 where sr_ticket_number % 4 = 0",
    "update customer_address set ca_county = 'Williamson County', ca_state = 'TN', ca_zip = '31904' where ca_address_sk % 4 = 0",
    "update customer_address set ca_county = 'Jefferson County' where ca_address_sk % 12 = 1",
    "update customer_address set ca_county = 'Franklin Parish' where ca_address_sk % 12 in (2, 3)",
    "update customer_address set ca_county = 'Bronx County' where ca_address_sk % 12 in (5, 6)",
    "update store_sales set ss_customer_sk = ss_customer_sk % 100 + 1",
    "update store_returns set sr_customer_sk = sr_customer_sk % 100 + 1",
    "update catalog_sales set cs_bill_customer_sk = cs_bill_customer_sk % 100 + 1, cs_ship_customer_sk = cs_ship_customer_sk % 100 + 1",
    "update web_sales set ws_bill_customer_sk = ws_bill_customer_sk % 100 + 1",
    "update inventory set inv_quantity_on_hand = inv_quantity_on_hand * 50 where inv_item_sk % 3 = 0 and inv_date_sk % 4 = 0",
    "update item set i_category = 'Women', i_color = 'powder', i_units = 'Ounce', i_size = 'medium', i_manufact_id = 740 where i_item_sk % 40 = 1",
    "update item set i_manufact_id = 52 where i_item_sk % 10 = 3",
    "update web_sales set ws_bill_addr_sk = ws_bill_addr_sk - ws_bill_addr_sk % 4 where ws_bill_addr_sk > 4",
    "update catalog_sales set cs_bill_customer_sk = ss_customer_sk, cs_sold_date_sk = ss_sold_date_sk from store_sales where ss_ticket_number = cs_order_number and cs_order_number % 7 = 0",
    "update web_sales set ws_bill_customer_sk = ss_customer_sk, ws_sold_date_sk = ss_sold_date_sk from store_sales where ss_ticket_number = ws_order_number and ws_order_number % 7 = 0",
]
# Query: (text, text in its place), at larger scale factors.
REPLACED_AT_1 = {17: [("'2001Q", "'2002Q")]}
# The same at scale factor 0.01.
REPLACED = {
    3: [("i_manufact_id = 128", "i_manufact_id = 52")],
    13: [("('TX', 'OH', 'TX') AND ss_net_profit BETWEEN 100 AND 200", "('TX', 'OH', 'TN') AND ss_net_profit BETWEEN -2000 AND 2000"), ("('OR', 'NM', 'KY')", "('OR', 'TN', 'KY')"), ("150 AND 300", "-1500 AND 300"), ("hd_dep_count = 1", "hd_dep_count <= 3"), ("50.00", "5.00")],
    16: [("'GA'", "'TN'"), ("'2002-02-01'", "'2000-02-01'")],
    32: [("977", "52")],
    88: [("'ese'", "'ought'")],
    90: [("hd_dep_count = 6", "hd_dep_count = 5"), ("5000", "500"), ("5200", "8000")],
    92: [("350", "52")],
    94: [("'1999-02-01'", "'1998-02-01'"), ("1999-04-02", "2001-04-02"), ("'IL'", "'TN'"), ("'pri'", "'cally'")],
    95: [("'1999-02-01'", "'1998-02-01'"), ("1999-04-02", "2001-04-02"), ("'IL'", "'TN'"), ("'pri'", "'cally'")],
    96: [("'ese'", "'ought'"), ("hd_dep_count = 7", "hd_dep_count = 5")],
    4: [("2001", "1999")],
    8: [("'24128'", "'31904'")],
    10: [("'Rush County'", "'Williamson County'")],
    19: [("i_manager_id=8", "i_manager_id=26")],
    23: [("count(*) >4", "count(*) >2"), ("d_moy = 2", "d_moy = 12")],
    24: [("s_market_id=8", "s_market_id=2"), ("'peach'", "'yellow'")],
    30: [("'GA'", "'TN'")],
    37: [("BETWEEN 68 AND 68 + 30", "BETWEEN 2 AND 2 + 80"), ("677", "2"), ("940", "9"), ("694", "740"), ("808", "52")],
    82: [("BETWEEN 62 AND 62+30", "BETWEEN 2 AND 2 + 80"), ("129", "2"), ("270", "9"), ("821", "740"), ("423", "52")],
    44: [("ss_store_sk = 4", "ss_store_sk = 1")],
    49: [("> 10000", "> 50")],
    54: [("'maternity'", "'dresses'")],
    58: [("0.9 *", "0.02 *"), ("1.1 *", "50 *")],
    64: [("'purple'", "'yellow'"), ("'burlywood'", "'red'"), ("'indian'", "'papaya'"), ("'spring'", "'powder'"), ("BETWEEN 64 AND 64 + 10", "BETWEEN 0 AND 0 + 90"), ("64 + 1 AND 64 + 15", "0 AND 95")],
    31: [("2000", "2002")],
    65: [("0.1 *", "0.6 *"), ("1176", "1188")],
    73: [("BETWEEN 1 AND 2", "BETWEEN 1 AND 28"), ("BETWEEN 1 AND 5", "BETWEEN 1 AND 15")],
    83: [("'2000-06-30'", "'2001-11-30'"), ("'2000-09-27'", "'2000-12-21'")],
    91: [("d_moy = 11", "d_moy = 10"), ("-7", "-6")],
    85: [("'M'", "'D'"), ("100.00 AND", "1.00 AND"), ("50.00 AND", "1.00 AND"), ("('IN', 'OH', 'NJ')", "('IN', 'OH', 'TN')"), ("BETWEEN 100 AND 200)", "BETWEEN -3000 AND 3000)"), ("d_year = 2000", "d_year BETWEEN 1998 AND 2002")],
    93: [("'reason 28'", "'Package was damaged'")],
}
